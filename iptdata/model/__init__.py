"""The networks: IPT as published, and the CNN that the paper compares it with."""
