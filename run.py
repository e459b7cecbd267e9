from vnpy_brokers.door import main

if __name__ == "__main__":  # the backtester's worker processes import this file again
    raise SystemExit(main())
