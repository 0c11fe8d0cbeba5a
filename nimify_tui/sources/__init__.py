"""What backends tell, turned into updates for the fleet."""
