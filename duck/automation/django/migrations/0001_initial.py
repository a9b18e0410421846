"""The tables."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Automation",
            fields=[
                ("name", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("revision", models.CharField(max_length=64)),
                ("since", models.BigIntegerField()),
                ("paused_until", models.BigIntegerField(blank=True, null=True)),
                ("facts", models.TextField(blank=True, default="")),
                ("coming", models.TextField(blank=True, default="")),
                ("told", models.BigIntegerField(blank=True, null=True)),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Node",
            fields=[
                ("name", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("beat", models.BigIntegerField()),
                ("ahead_s", models.FloatField(default=0.0)),
                ("takes_each", models.BooleanField(default=True)),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Told",
            fields=[
                ("key", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("at", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100)),
                ("revision", models.CharField(max_length=64)),
                ("planned", models.BigIntegerField()),
                ("once", models.CharField(blank=True, max_length=16, null=True)),
                ("cause", models.CharField(max_length=16)),
                ("state", models.CharField(max_length=16)),
                ("reason", models.TextField(blank=True, default="")),
                ("attempt", models.IntegerField(default=0)),
                ("not_before", models.BigIntegerField()),
                ("missed", models.IntegerField(default=0)),
                ("event", models.TextField(blank=True, default="")),
                ("node", models.TextField(blank=True, default="")),
                ("created", models.BigIntegerField()),
                ("started", models.BigIntegerField(blank=True, null=True)),
                ("beat", models.BigIntegerField(blank=True, null=True)),
                ("ended", models.BigIntegerField(blank=True, null=True)),
                ("code", models.IntegerField(blank=True, null=True)),
                ("output", models.TextField(blank=True, default="")),
                ("cancels", models.BooleanField(default=False)),
                ("for_node", models.CharField(blank=True, default="", max_length=200)),
                ("printed", models.BigIntegerField(default=0)),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["state", "not_before"], name="duck_automations_run_state"),
                    models.Index(fields=["name", "id"], name="duck_automations_run_name"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("name", "revision", "planned", "for_node", "once"), name="duck_automations_run_once"
                    )
                ],
            },
        ),
    ]
