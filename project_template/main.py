"""The App of this project: `python main.py` and `duck runserver` are the same."""

from duck.app import App

app = App()

if __name__ == "__main__":
    app.run()
