"""What a run was queued for, once."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("duck_automations", "0003_sizes"),
    ]

    operations = [
        migrations.AddField("run", "occasion", models.CharField(blank=True, max_length=64, null=True)),
        migrations.AddConstraint(
            "run",
            models.UniqueConstraint(fields=["name", "for_node", "occasion"], name="duck_automations_run_occasion"),
        ),
    ]
