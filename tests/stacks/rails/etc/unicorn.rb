# What was /etc/dailyReport/unicorn.rb. How many workers there are is the host's matter.
working_directory "/app"
listen 8080
worker_processes Integer(ENV.fetch("WEB_CONCURRENCY"))
timeout 30
stderr_path "/var/log/dailyReport/#{ENV.fetch('HOSTNAME')}.log"
