"""Static and dynamic sparse training on Fashion-MNIST, beside masked PyTorch."""
