"""Losses and their gradients in closed form; imports jax and chex only."""
