"""Who carries out what no node does itself."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("duck_automations", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Execution",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("attempt", models.IntegerField()),
                ("task", models.CharField(max_length=255)),
                ("worker", models.CharField(max_length=255)),
                ("begun", models.BigIntegerField()),
                ("beats", models.IntegerField(default=0)),
                ("state", models.CharField(max_length=16)),
                ("waits_s", models.FloatField(default=0.0)),
                ("reason", models.TextField(blank=True, default="")),
                ("output", models.TextField(blank=True, default="")),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="executions",
                        to="duck_automations.run",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("run", "attempt"), name="duck_automations_execution_once")
                ],
            },
        ),
    ]
