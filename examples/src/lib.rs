//! Examples, each about a single question: see the folder `examples`.
