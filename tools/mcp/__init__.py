"""The Model Context Protocol, both ways: tools offered to its clients, and its servers' tools."""
