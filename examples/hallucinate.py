"""Put the trained controller into its own dream and film it beside a real drive."""

from dreamgym.checkpoint import SHIPPED
from dreamgym.training.measure.film import film

controller = SHIPPED / "car_racing" / "controller.safetensors"
print("left the dream, right the real game:", film("car_racing", controller, "dream.gif", 1000))
