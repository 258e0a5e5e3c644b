"""What a run is: its journal, its identity, its budget."""
