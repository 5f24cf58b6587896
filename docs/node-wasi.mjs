// Runs a WASI command under Node.js: node --no-warnings node-wasi.mjs MODULE
// Used as `diffcheck run corpus/ --subject 'wasi:node --no-warnings docs/node-wasi.mjs'`; Node.js 22 or newer has multi-memory.
import { readFile } from "node:fs/promises";
import { argv, exit, stderr } from "node:process";
import { WASI } from "node:wasi";

const wasi = new WASI({ version: "preview1", args: [argv[2]], env: {}, returnOnExit: true });
try {
  const module = await WebAssembly.compile(await readFile(argv[2]));
  const instance = await WebAssembly.instantiate(module, wasi.getImportObject());
  exit(wasi.start(instance));
} catch (error) {
  stderr.write(error instanceof WebAssembly.Exception ? "WebAssembly.Exception\n" : `${error.name}: ${error.message}\n`);
  exit(1);
}
