"""The recipe for digits: a small convolutional net on 8 x 8 pixel images."""
