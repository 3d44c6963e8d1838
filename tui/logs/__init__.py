"""Windows onto log files: one rank, several merged by time."""
