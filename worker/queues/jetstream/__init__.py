"""NATS JetStream as queues."""
