"""Automations written for other schedulers, which call `duck automations run NAME --wait`: one file each. Pure.

times      planned times as crontab says them, which all of them can be made from
crontab    lines of crontab
systemd    timers and services
k8s        Kubernetes CronJobs
"""
