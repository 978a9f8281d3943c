"""Run `benchmarks.speed.comparison`: one table of the speed of training and sampling."""

from benchmarks.speed.comparison import main

if __name__ == "__main__":
    main()
