"""Film the shipped controller of CarRacing in the dream, beside its drive in the real game."""

from dreamgym.checkpoint import SHIPPED
from dreamgym.training.measure.film import film

controller = SHIPPED / "car_racing" / "controller.safetensors"
print("left the dream, right the real game:", film("car_racing", controller, "dream.gif", 1000))
