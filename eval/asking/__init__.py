"""How a model is asked: each module turns loaded items into plain JSON answers through the two primitives."""
