"""What it costs two threads to read what the other has written."""
