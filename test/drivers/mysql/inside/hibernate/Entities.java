import jakarta.persistence.CascadeType;
import jakarta.persistence.Column;
import jakarta.persistence.ElementCollection;
import jakarta.persistence.Entity;
import jakarta.persistence.CollectionTable;
import jakarta.persistence.GeneratedValue;
import jakarta.persistence.GenerationType;
import jakarta.persistence.Id;
import jakarta.persistence.Inheritance;
import jakarta.persistence.InheritanceType;
import jakarta.persistence.JoinColumn;
import jakarta.persistence.ManyToOne;
import jakarta.persistence.OneToMany;
import jakarta.persistence.OrderBy;
import jakarta.persistence.OrderColumn;
import jakarta.persistence.SequenceGenerator;
import jakarta.persistence.Table;
import jakarta.persistence.TableGenerator;
import jakarta.persistence.Version;
import java.math.BigDecimal;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;

/** What is mapped: keys of every kind, versions, lines that go with their item, collections with a key and without, classes over two tables. */
final class Entities {
  static final Class<?>[] ALL = {Item.class, Line.class, Counter.class, Task.class, Memo.class, Party.class, Firm.class, Remarked.class};

  /** Its key is given by the server. */
  @Entity(name = "Item")
  @Table(name = "item")
  static class Item {
    @Id
    @GeneratedValue(strategy = GenerationType.IDENTITY)
    Long id;

    String code;
    BigDecimal price;
    String name;
    LocalDateTime at;
    byte[] raw;
    Boolean flag;
    String note;

    @Version int edition;

    @OneToMany(mappedBy = "item", cascade = CascadeType.ALL, orphanRemoval = true)
    @OrderBy("id")
    List<Line> lines = new ArrayList<>();

    Item() {}

    Item(String code, String price) {
      this.code = code;
      this.price = new BigDecimal(price);
    }

    Item with(int n) {
      Line line = new Line();
      line.item = this;
      line.n = n;
      lines.add(line);
      return this;
    }

    String told() {
      return code + " " + price + " " + name + " " + at + " " + (raw == null ? "" : raw.length) + " " + flag + " " + note + " " + edition
          + lines.stream().map(line -> line.n).toList();
    }
  }

  @Entity(name = "Line")
  @Table(name = "line")
  static class Line {
    @Id
    @GeneratedValue(strategy = GenerationType.IDENTITY)
    Long id;

    @ManyToOne
    @JoinColumn(name = "item")
    Item item;

    int n;
  }

  /** Its key is given by the application. */
  @Entity(name = "Counter")
  @Table(name = "counter")
  static class Counter {
    @Id String name;
    int n;

    Counter() {}

    Counter(String name, int n) {
      this.name = name;
      this.n = n;
    }
  }

  /** Its key is of a table of keys. Labels are a set and steps a list with places, both with a key. */
  @Entity(name = "Task")
  @Table(name = "task")
  static class Task {
    @Id
    @GeneratedValue(strategy = GenerationType.TABLE, generator = "tasks")
    @TableGenerator(name = "tasks", table = "hibernate_id", allocationSize = 20)
    Long id;

    String name;
    boolean done;
    @Version int edition;

    @ElementCollection
    @CollectionTable(name = "task_label", joinColumns = @JoinColumn(name = "task"))
    @Column(name = "label")
    Set<String> labels = new HashSet<>();

    @ElementCollection
    @CollectionTable(name = "task_step", joinColumns = @JoinColumn(name = "task"))
    @OrderColumn(name = "place")
    @Column(name = "step")
    List<String> steps = new ArrayList<>();

    Task() {}

    Task(String name) {
      this.name = name;
    }
  }

  /** Its key is of a sequence, which on MySQL is a table with one row. */
  @Entity(name = "Memo")
  @Table(name = "memo")
  static class Memo {
    @Id
    @GeneratedValue(strategy = GenerationType.SEQUENCE, generator = "memos")
    @SequenceGenerator(name = "memos", sequenceName = "memo_seq", allocationSize = 20)
    Long id;

    String name;

    Memo() {}

    Memo(String name) {
      this.name = name;
    }
  }

  /** A class over two tables, with a UUID of the application's as key. */
  @Entity(name = "Party")
  @Table(name = "party")
  @Inheritance(strategy = InheritanceType.JOINED)
  static class Party {
    @Id
    @GeneratedValue(strategy = GenerationType.UUID)
    UUID id;

    String name;
  }

  @Entity(name = "Firm")
  @Table(name = "firm")
  static class Firm extends Party {
    int size;

    Firm() {}

    Firm(String name, int size) {
      this.name = name;
      this.size = size;
    }
  }

  /** Its remarks are in a table without a key. */
  @Entity(name = "Remarked")
  @Table(name = "remarked")
  static class Remarked {
    @Id
    @GeneratedValue(strategy = GenerationType.IDENTITY)
    Long id;

    String name;

    @ElementCollection
    @CollectionTable(name = "remark", joinColumns = @JoinColumn(name = "remarked"))
    @Column(name = "remark")
    List<String> remarks = new ArrayList<>();
  }

  private Entities() {}
}
