"""Time zones whose clocks do what clocks can do."""

from hypothesis import strategies as st

zones = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Havana",  # two midnights in autumn
        "America/St_Johns",  # until 2011, clocks went back over midnight
        "Asia/Beirut",  # no midnight in spring
        "Asia/Kathmandu",  # 5:45 ahead
        "Australia/Lord_Howe",  # moved by half an hour
        "Pacific/Kiritimati",  # 14 hours ahead
        "Pacific/Pago_Pago",  # 11 hours behind
    ]
)
