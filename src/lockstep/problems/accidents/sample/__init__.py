"""The embedded sample: French accidents from a known model, in the publisher's raw format.

``calibration.json`` holds published shares of 2021 (ONISR, Licence Ouverte), each by what it
depends on: figures, no rows. ``effects.json`` holds the severity model in logits. Its effects of
department, road, light, collision, junction, hour, month, sex and age were fitted so that the rates
of accidents that kill or hospitalise come out as published, about a quarter nearer to the mean:
with the full spread people of one accident, drawn one by one, would be hurt together too often.
Those of seats, devices and who met whom, which no published table shows free of selection by
outcome, were set by hand, so that the best reachable ROC AUC is about .88, as far above a good
model's as a sample of this size leaves it.
"""

from lockstep.problems.accidents.sample.write import write_sample

__all__ = ["write_sample"]
