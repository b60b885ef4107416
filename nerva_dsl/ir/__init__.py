"""The graph IR: values, operations, programs; printing, reading and checking them."""
