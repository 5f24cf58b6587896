"""The sweep: every instruction of the opcode table with boundary operands, and the map of what was checked."""
