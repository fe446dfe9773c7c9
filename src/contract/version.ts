/** The version of Atomesh, as its coordinator tells whoever asks; a test holds it equal to package.json. */
export const VERSION = '0.1.0';
