"""Redis Streams as queues."""
