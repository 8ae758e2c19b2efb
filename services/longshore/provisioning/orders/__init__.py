"""Capacity orders: what a provider is asked for, what it answers, and what it quotes before."""
