"""The back end `ray`: episodes on workers, tools on actors."""
