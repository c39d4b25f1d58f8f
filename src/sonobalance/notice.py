"""What every answer and every handed-on file says first."""

NOTICE = "Research software, not a medical device: never use it to decide about a patient."
