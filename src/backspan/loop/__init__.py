"""What is done with turns and votes after they were stored, beside the servers that store them."""
