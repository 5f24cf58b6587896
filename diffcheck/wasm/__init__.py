"""Reading and writing WebAssembly binaries by section, and assembling code; knows no engine and no witness."""
