/** What the demo prints: stories, steps with the time, tables, and a tick or a cross for each check. Colours on a terminal only. */
import { styleText } from 'node:util';
import { monotonicSeconds } from '../../src/platform/clock.ts';

export interface Screen {
  /** A line of its own weight. */
  headline(text: string): void;
  /** The head of a scene, and what it is about. */
  scene(number: number, title: string, story: readonly string[]): void;
  /** Something that happens now; printed with the seconds since the screen was opened. */
  readonly step: (text: string) => void;
  /** Cells in aligned columns; the first row is the head. */
  table(rows: readonly (readonly string[])[]): void;
  /** A tick, or a cross with what was found instead. */
  readonly check: (holds: boolean, text: string, found?: string) => void;
  /** Lines as they are. */
  lines(lines: readonly string[]): void;
}

/** Writes to `stream`. */
export function openScreen(stream: NodeJS.WriteStream): Screen {
  const openedAt = monotonicSeconds();
  const style = (format: Parameters<typeof styleText>[0], text: string): string => styleText(format, text, { stream });
  const write = (line: string): void => void stream.write(`${line}\n`);
  return {
    headline: (text) => write(`\n${style('bold', text)}`),
    scene(number, title, story) {
      write(`\n${style(['bold', 'cyan'], `Scene ${number}: ${title}`)}`);
      for (const line of story) write(`  ${line}`);
      write('');
    },
    step: (text) => write(style('dim', `  ${(monotonicSeconds() - openedAt).toFixed(1).padStart(5)} s  ${text}`)),
    table(rows) {
      const [head = [], ...body] = rows;
      const widths = head.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
      const line = (row: readonly string[]): string =>
        `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('   ')}`.trimEnd();
      write(`\n${style('bold', line(head))}`);
      write(style('dim', `  ${widths.map((width) => '─'.repeat(width)).join('───')}`));
      for (const row of body) write(line(row));
      write('');
    },
    check(holds, text, found) {
      if (holds) write(`  ${style('green', '✓')} ${text}`);
      else write(`  ${style('red', '✗')} ${text}${found === undefined ? '' : `\n      found: ${found}`}`);
    },
    lines: (lines) => {
      for (const line of lines) write(line);
    },
  };
}
