"""The offline learner: data, tasks, meta-learned initialization, evaluation, export."""
