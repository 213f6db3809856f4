"""Clips: MP4, MOV, AVI, MKV, WebM and GIF files as frames, through PyAV."""
