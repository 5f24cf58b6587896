"""WIT: types and values of the component model, their text, and their canonical ABI."""
