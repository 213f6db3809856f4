"""Clips: MP4, MOV, AVI, MKV and WebM files as frames, through PyAV."""
