# frozen_string_literal: true

# What ActiveRecord hears of a server, one line for each thing that was said: `ruby talk.rb <port> <user> <database> <gid>`. With a gid, what
# is said belongs to that global transaction: every connection names it. With statements as text, as Rails has it, and prepared.

require "active_record"

PORT, USER, DATABASE, GID = ARGV

class Plain < ActiveRecord::Base
  self.abstract_class = true
end

class Tag < Plain
  self.table_name = "tag"
end

class Line < Plain
  self.table_name = "line"
end

class Counter < Plain
  self.table_name = "counter"
  self.primary_key = "name"
end

# Its edition is the version that Rails checks.
class Item < Plain
  self.table_name = "item"
  self.locking_column = "edition"
  has_many :lines, -> { order(:id) }, foreign_key: "item", dependent: :destroy
  has_many :tagged, class_name: "ItemTag", foreign_key: "item", dependent: :delete_all
  has_many :tags, through: :tagged, source: :named
  validates :code, presence: true
end

class ItemTag < Plain
  self.table_name = "item_tag"
  belongs_to :owner, class_name: "Item", foreign_key: "item"
  belongs_to :named, class_name: "Tag", foreign_key: "tag"
end

def say(name, *said)
  puts "= #{name}: #{said.inspect}"
end

# What a part is told that fails.
def failing
  yield
rescue ActiveRecord::ActiveRecordError => error
  [error.class, error.message]
end

# A usual unit of work, in a local transaction or statement by statement.
def changes(mark)
  made = Item.create!(code: mark, price: "12.34", name: "quo'te\\ä😀", at: Time.utc(2024, 2, 29, 23, 59, 59.999999r), raw: "\0\1\xff".b)
  say "#{mark} made", made.id.positive?, made.edition
  made.lines << [Line.new(n: 1), Line.new(n: 2), Line.new(n: 3)]
  made.update!(note: "a;b", price: made.price + 1)
  stale = Item.find_by!(code: mark)
  made.update!(name: "changed")
  say "#{mark} stale", failing { stale.update!(name: "late") }.first
  say "#{mark} untouched", made.save, made.edition
  made.lines.second.destroy!
  say "#{mark} counted", made.increment!(:price, 3).price, made.lines.reload.map(&:n)
  say "#{mark} inserted", Item.insert_all((0..24).map { |n| { code: "#{mark} #{n}", price: n, edition: 0 } }).class
  say "#{mark} ignored", Item.insert_all([{ code: mark }, { code: "#{mark} new" }]).class
  say "#{mark} upserted", Counter.upsert_all([{ name: "ann", n: 10 }, { name: mark[-20..] || mark, n: 1 }]).class
  say "#{mark} updated", Item.where("code like ?", "#{mark} 1%").update_all("name = concat(code, '!'), edition = edition + 1")
  say "#{mark} limited", Item.where("code like ?", "#{mark} %").order(:code).limit(3).update_all(note: "first")
  say "#{mark} joined", Line.joins("join item on item.id = line.item").where("item.code = ?", mark).update_all("line.n = line.n + 100")
  say "#{mark} counters", Counter.where(name: %w[cy dee]).update_all("n = n * 2"), Counter.find("fay").increment!(:n, 5).n
  made.tags = Tag.order(:name).limit(2)
  made.tags = Tag.order(:name).last(2)
  say "#{mark} tags", made.tags.reload.map(&:name).sort
  say "#{mark} found or made", 2.times.map { Item.find_or_create_by!(code: "#{mark} once").previously_new_record? }
  say "#{mark} gone", Item.where(code: ["#{mark} 3", "#{mark} 4"]).delete_all, Item.where(code: "#{mark} 5").destroy_all.size
  say "#{mark} gone in part", Item.where("code like ?", "#{mark} 2%").order(:code).limit(2).delete_all
  say "#{mark} gone with lines", Item.create!(code: "#{mark} whole", lines: [Line.new(n: 8)], tags: Tag.where(name: "red")).destroy!.lines.size
  say "#{mark} touched", made.with_lock { made.update!(note: "locked") }, Counter.lock.find("eve").n, Counter.lock("lock in share mode").find("bob").n
  Item.where("code like ?", "#{mark}%").includes(:lines).in_batches(of: 10) do |batch|
    batch.each { |row| say "#{mark} row", row.code, row.price&.to_s, row.name, row.at&.iso8601(6), row.raw, row.note, row.edition, row.lines.map(&:n) }
  end
end

{ "text" => false, "prepared" => true }.each do |way, prepared|
  ActiveRecord::Base.establish_connection(
    adapter: "mysql2", host: "127.0.0.1", port: PORT.to_i, username: USER, database: DATABASE, encoding: "utf8mb4",
    prepared_statements: prepared, init_command: GID.empty? ? "DO 0" : "SET @atomesh_gid = '#{GID}'"
  )
  changes "#{way} alone"
  say "#{way} twice", failing { Item.create!(code: "seed") }
  say "#{way} refers to nothing", failing { Line.create!(item: 999_999) }
  %w[kept gone].each do |mark|
    ended = ActiveRecord::Base.transaction do
      changes "#{way} #{mark}"
      say "#{way} #{mark} nested", failing { ActiveRecord::Base.transaction(requires_new: true) { 2.times { Item.create!(code: "#{way} inner") } } }
      raise ActiveRecord::Rollback if mark == "gone"

      "committed"
    end
    say "#{way} #{mark} end", ended
  end
  ActiveRecord::Base.remove_connection
end
puts "= the end"
