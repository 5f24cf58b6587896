// Runs a capsule under a JavaScript engine: bun javascript.mjs MODULE, or node --no-warnings javascript.mjs MODULE.
// A capsule imports fd_write alone, so no implementation of WASI is needed.
import { readFileSync, writeSync } from "node:fs";
import { argv, exit } from "node:process";

let exported;
const idle = new Int32Array(new SharedArrayBuffer(4));
const write = (fd, bytes) => {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes.subarray(done));
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
      Atomics.wait(idle, 0, 0, 1); // a full pipe: Node's do not block
    }
  }
};
const fd_write = (fd, vectors, count, written) => {
  const view = new DataView(exported.memory.buffer);
  let total = 0;
  for (let at = vectors; at < vectors + 8 * count; at += 8) {
    const bytes = new Uint8Array(view.buffer, view.getUint32(at, true), view.getUint32(at + 4, true));
    write(fd, bytes);
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
  write(2, new TextEncoder().encode(`${words(error)}\n`));
  exit(1);
}
