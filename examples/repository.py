"""Complete a file that uses others of its repository: `python examples/repository.py [MODEL]`."""

import sys

import midfill

files = {  # each behind those it imports; the last one is completed
    "shapes.py": """\
class Circle:
    def __init__(self, radius):
        self.radius = radius

    def area(self):
        return 3.14159 * self.radius**2
""",
    "report.py": """\
def show_area(name, shape):
    print(f"the area of {name} is {shape.area():.2f}")
""",
    "main.py": """\
from report import show_area
from shapes import Circle


def main():
    # show the areas of a small and a large circle""",
}

coder = midfill.load(sys.argv[1] if sys.argv[1:] else None)

prompt = "\n".join(f"#{path}\n{text}" for path, text in files.items())
answer = coder.complete(prompt, max_tokens=96, stop="\n\n")
print(files["main.py"] + answer.text)
