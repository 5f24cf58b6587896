"""WebAssembly binaries: sections, types, instructions, an assembler. Independent of engines and of witness."""
