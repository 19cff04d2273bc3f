"""What the documentation claims, measured: each figure beside what it is compared with, in the same run."""
