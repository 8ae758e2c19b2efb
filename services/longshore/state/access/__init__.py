"""Users, their access keys and policies.

Submission writes them, and whoever starts a stack makes its first user; every service that users
call reads what a key stands for.
"""
