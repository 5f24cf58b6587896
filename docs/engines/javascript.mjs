// Runs a capsule under a JavaScript engine: bun javascript.mjs MODULE, or node --no-warnings javascript.mjs MODULE.
// A capsule imports fd_write alone, so no implementation of WASI is needed.
import { readFileSync, writeSync } from "node:fs";

// The global one: importing node:process makes the pipe of stdout non-blocking, and writing to a full one fails.
const { argv, exit } = process;
let exported;
const fd_write = (fd, vectors, count, written) => {
  const view = new DataView(exported.memory.buffer);
  let total = 0;
  for (let at = vectors; at < vectors + 8 * count; at += 8) {
    const bytes = new Uint8Array(view.buffer, view.getUint32(at, true), view.getUint32(at + 4, true));
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes.subarray(done));
    total += bytes.length;
  }
  view.setUint32(written, total, true);
  return 0;
};
const words = (error) => (error instanceof WebAssembly.Exception ? "WebAssembly.Exception" : `${error.name}: ${error.message}`);
try {
  const module = new WebAssembly.Module(readFileSync(argv[2]));
  exported = new WebAssembly.Instance(module, { wasi_snapshot_preview1: { fd_write } }).exports;
  exported._start();
} catch (error) {
  writeSync(2, `${words(error)}\n`);
  exit(1);
}
