"""How much what waits was told by events."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("duck_automations", "0002_executions"),
    ]

    operations = [
        migrations.AddField("run", "size", models.IntegerField(blank=True, null=True)),
    ]
