"""What computes: values in, values out. No clock, no environment, no Kafka, no Faust."""
