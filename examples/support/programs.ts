/** Programs of the operating system that the examples and tests start. */
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/** Where servers are, beside what PATH names: Debian keeps them out of it for ordinary users. */
const FOLDERS = ['/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin', '/usr/libexec', '/opt/homebrew/bin'];

/** A program that is not installed. The message says what to install. */
export class ProgramMissing extends Error {
  constructor(name: string, debianPackage: string) {
    super(`${name} is not installed. On Debian and Ubuntu: apt-get install ${debianPackage}`);
    this.name = 'ProgramMissing';
  }
}

/** The path of a program. Rejects with `ProgramMissing` when the operating system has none. */
export async function programOf(name: string, debianPackage: string): Promise<string> {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), ...FOLDERS]) {
    if (folder === '') continue;
    const path = join(folder, name);
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  throw new ProgramMissing(name, debianPackage);
}
