"""What OpenAI's own clients speak, under ``/v1``: files, fine-tuning jobs, models and completions."""
