"""What the tests stand on: a real Kafka, small tools around it, and the judge of deliveries."""
