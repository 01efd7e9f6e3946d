"""A search for the best settings of a training: Optuna proposes, trainings try, poor ones end early.

A study is a folder below `searches`; its trials are the jobs of a sweep, and one whose process was killed is
gone on with. This package alone knows Optuna.
"""
