"""RabbitMQ as queues."""
