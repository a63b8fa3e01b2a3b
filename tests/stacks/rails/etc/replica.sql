${users.sql}
STOP SLAVE;
CHANGE MASTER TO MASTER_HOST = 'db', MASTER_USER = 'replication', MASTER_PASSWORD = '${replication_password}', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 2;
START SLAVE;
